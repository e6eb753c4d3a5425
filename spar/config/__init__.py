"""Settings: typed, grouped, with the paper's values as defaults, loaded from YAML recipes and overrides.

`fields` declares them, `groups` lists them, `settings` puts them together, `loading` reads recipes.
"""

from spar.config.fields import Settings, SettingSpec, setting, specs
from spar.config.groups import MAX_BUDGET, PLACEMENT, SamplingConfig
from spar.config.keys import check_headers, check_key_name, names_credential
from spar.config.loading import (
    RECIPES,
    check_plugins,
    default_recipe,
    explain,
    load_decode,
    load_eval,
    override,
    reason_of,
    refuse_ambiguous,
    section,
    validated,
)
from spar.config.serving import ServeGroup, load_serve
from spar.config.settings import FREE, DecodeConfig, EvalConfig, without_options_of_others

__all__ = [
    "FREE",
    "MAX_BUDGET",
    "PLACEMENT",
    "RECIPES",
    "DecodeConfig",
    "EvalConfig",
    "SamplingConfig",
    "ServeGroup",
    "SettingSpec",
    "Settings",
    "check_headers",
    "check_key_name",
    "check_plugins",
    "default_recipe",
    "explain",
    "load_decode",
    "load_eval",
    "load_serve",
    "names_credential",
    "override",
    "reason_of",
    "refuse_ambiguous",
    "section",
    "setting",
    "specs",
    "validated",
    "without_options_of_others",
]
