"""The exceptions that a user can cause and cure."""


class SettingError(ValueError):
    """A setting that cannot work, in at most three short lines: setting, value, cure.

    Commands print it without a traceback and exit with status 1.
    """


class FolderInUseError(SettingError):
    """Another process trains in the run folder."""


class TrainingError(SettingError):
    """A training that has become useless: which term, when, and what to try instead."""


class PluginError(SettingError):
    """A run needs a plug-in that the command does not name."""
