"""Numbers for samples of any making: a judge, what it is shown, and what is made of what it saw."""
