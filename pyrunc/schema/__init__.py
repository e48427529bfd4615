"""JSON Schema of config.json, written for pyrunc: the file ``config-schema.json`` beside this."""
