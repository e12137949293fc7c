-- What was imported from another application, by its id there, so that an import
-- that is repeated, or goes on after it broke off, brings nothing twice.
CREATE TABLE falcon_imports (
    kind text   NOT NULL, -- report, settings, notification
    id   text COLLATE "C" NOT NULL,
    at   bigint NOT NULL,
    PRIMARY KEY (kind, id)
);
