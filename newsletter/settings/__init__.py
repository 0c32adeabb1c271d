"""config.toml and the environment become frozen `Settings`; all that is wrong is reported at once.

    load.load_settings → Loaded(settings, path, folder, origins)
    pick.pick_newsletter, show.shown_values, show.json_schema, show.format_problems, secret_key.site_secret

`model` holds every key with its default and meaning; `kinds` the forms that values take.
"""
