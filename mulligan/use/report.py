"""placeholder"""
from mulligan.core.run import RunFolder, write_whole
def write_report(run: RunFolder):
    write_whole(run.report, b"<html></html>"); return run.report
