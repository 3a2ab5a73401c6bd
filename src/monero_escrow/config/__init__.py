"""Every setting, with its unit and default; `docs/configuration.md` is generated from these classes.

Read from the environment, from `.env` in the working directory, from a file named by `MONERO_ESCROW_CONFIG` (same
syntax as `.env`), and from the folder that `CREDENTIALS_DIRECTORY` names: a file in it that is called as a setting is
holds its value. systemd makes such a folder (LoadCredential), and so do containers (/run/secrets). The environment
wins. Secrets are given by file where possible and are hidden from every repr.
"""

from monero_escrow.config.escrows import NOTHING, UNLIMITED
from monero_escrow.config.monero import ACKNOWLEDGEMENT
from monero_escrow.config.settings import Settings, credential_of, load_settings, named_settings_file
from monero_escrow.config.values import SettingsError

__all__ = [
    "ACKNOWLEDGEMENT",
    "NOTHING",
    "UNLIMITED",
    "Settings",
    "SettingsError",
    "credential_of",
    "load_settings",
    "named_settings_file",
]
