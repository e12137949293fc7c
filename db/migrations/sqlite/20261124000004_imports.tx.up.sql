-- What was imported from another application, by its ID there, so that an import that is
-- repeated or resumed after an interruption adds nothing twice.
CREATE TABLE falcon_imports (
    kind TEXT    NOT NULL, -- report, settings, notification
    id   TEXT    NOT NULL,
    at   INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
