-- What was imported from another application, by its ID there, so that an import that is
-- repeated or resumed after an interruption adds nothing twice.
CREATE TABLE falcon_imports (
    kind text   NOT NULL, -- report, settings, notification
    id   text COLLATE "C" NOT NULL,
    at   bigint NOT NULL,
    PRIMARY KEY (kind, id)
);
