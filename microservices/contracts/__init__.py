"""The Redis schema as code: a module per key family, with its key names and its typed encode and decode.

Every writer and every reader of a family uses its module, so that a writer and a reader cannot disagree. What cannot be
read as the schema says raises `fields.Unreadable`; a reader treats the thing as absent and says so.
"""
