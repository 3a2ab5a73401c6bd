"""Every setting, with its unit and default; `docs/configuration.md` is generated from these classes.

Read from the environment, from `.env` in the working directory, and from a file named by `MONERO_ESCROW_CONFIG` (same
syntax as `.env`). The environment wins. Secrets are given by file where possible and are hidden from every repr.
"""

from monero_escrow.config.escrows import UNLIMITED
from monero_escrow.config.monero import ACKNOWLEDGEMENT
from monero_escrow.config.settings import Settings, load_settings, named_settings_file
from monero_escrow.config.values import SettingsError

__all__ = ["ACKNOWLEDGEMENT", "UNLIMITED", "Settings", "SettingsError", "load_settings", "named_settings_file"]
