"""Public names for whoever writes parts of their own, or a training loop of their own. docs/add_a_gan.md shows both.

Only what stands here, in `mulligan` and in `mulligan.api` stays as it is from version to version.

**Recipes.** `Recipe` names the parts of a GAN: a `Part` with its options for each network, the loss, the augmentation
and the task, a `Term` for each term, an `OptimizerPair`, a `Budget`. A `Schedule` is a number that moves during
training. `derived(parent, name=..., ...)` changes some things of another recipe.

**Registries.** `recipes`, `generators`, `discriminators`, `losses`, `terms`, `augmentations`, `optimizers`, `tasks`,
`features` (feature nets), `measures`, `readers` and `kinds` (of samples): each is a `Registry`.
`losses.register("mine")` is a decorator that adds a part, `losses["hinge"]` is the constructor of one, `list(losses)`
gives all names. The parts that come with Mulligan are registered once this module is imported:

    losses["hinge"]()                          -> Loss, with .d(real, fake) and .g(fake)
    terms["r1"](sigma=0.01)                    -> Penalty, with .fn(step) -> one number per sample
    generators["dcgan"](sample, condition)     -> an nn.Module, G(z, cond)
    features["inception"]()                    -> an nn.Module, samples -> features (N, D)

**Networks.** `Generator` and `Discriminator` are the base classes. They are built from `(sample, condition, *,
options)`: a `Sample`, such as `ImageSample(shape=(3, 64, 64))` or `PointSample()`, and a `ConditionSpec` of `Field`s,
such as `by_class(10)`; `NOTHING` is the empty one. `G(z, cond)` and `D(x, cond)` take a `Condition`, a dictionary of
tensors. D returns a `Judgement`. A `Batch` is real samples with their condition.

**Losses and terms.** A `Loss` is two functions of logits. A term is a `Penalty`, a `Constraint`, a `ViewRule` or a
`LatentUpdate`, and reads the `Step`: one turn of one player, with its samples and D's judgements, which are computed
when they are first read. `total_logit(judgement)` is one number per sample, whatever heads D has; `append_dims` makes
it broadcast against samples. A `View` is what D sees of samples.

**Augmentation.** `ada()` and `diffaugment()` make an `AdaptiveAugmentation`: `views` of real and generated samples at a
strength, and `adapt`, which moves the strength.

**Metrics.** `extract(net, batches, to_net=sample.to_net)` computes features, `measure(real, fake)` FID, KID, precision,
recall, density and coverage of them, and `estimates(real, fake)` each as an `Estimate` with its 95 % interval.
`FeatureNet` is the base class of what `features` has.

**Checks of training.** They read numbers alone, so any loop can use them. `wins`, `spread` and `gradient_norm` compute
the numbers. A `History` holds them as rows, oldest first, and `diagnose(history)` names the first thing that is wrong,
as a `Detector` with a sentence, or None. `advice` turns that into a `Rewind`: what to change in a recipe.
`MovingAverage` is the moving average of a generator's weights.

**Errors.** `UserError` is raised for what the user can correct; the command line prints its one line.
"""

from mulligan.augment.parts import AdaptiveAugmentation, ada, diffaugment
from mulligan.core.batch import Batch, Judgement, append_dims
from mulligan.core.condition import NOTHING, Condition, ConditionSpec, Field, by_class
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.recipe import Budget, OptimizerPair, Part, Recipe, Schedule, Term, derived
from mulligan.core.registry import (
    Registry,
    augmentations,
    discriminators,
    features,
    generators,
    kinds,
    losses,
    measures,
    optimizers,
    readers,
    recipes,
    tasks,
    terms,
)
from mulligan.core.sample import Sample
from mulligan.core.step import Constraint, LatentUpdate, Loss, Penalty, Step, View, ViewRule
from mulligan.engine.detectors import Detector, History, diagnose
from mulligan.engine.ema import MovingAverage
from mulligan.engine.guard import Rewind, advice
from mulligan.engine.signals import gradient_norm, spread, wins
from mulligan.kinds.image import ImageSample
from mulligan.kinds.points import PointSample
from mulligan.metrics.distances import measure
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.intervals import Estimate, estimates
from mulligan.metrics.protocol import extract
from mulligan.runs.parts import load_own_parts
from mulligan.terms.gradient_penalties import total_logit

__all__ = [
    "NOTHING",
    "AdaptiveAugmentation",
    "Batch",
    "Budget",
    "Condition",
    "ConditionSpec",
    "Constraint",
    "Detector",
    "Discriminator",
    "Estimate",
    "FeatureNet",
    "Field",
    "Generator",
    "History",
    "ImageSample",
    "Judgement",
    "LatentUpdate",
    "Loss",
    "MovingAverage",
    "OptimizerPair",
    "Part",
    "Penalty",
    "PointSample",
    "Recipe",
    "Registry",
    "Rewind",
    "Sample",
    "Schedule",
    "Step",
    "Term",
    "UserError",
    "View",
    "ViewRule",
    "ada",
    "advice",
    "append_dims",
    "augmentations",
    "by_class",
    "derived",
    "diagnose",
    "diffaugment",
    "discriminators",
    "estimates",
    "extract",
    "features",
    "generators",
    "gradient_norm",
    "kinds",
    "losses",
    "measure",
    "measures",
    "optimizers",
    "readers",
    "recipes",
    "spread",
    "tasks",
    "terms",
    "total_logit",
    "wins",
]

load_own_parts()
