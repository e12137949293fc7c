DROP TABLE falcon_epochs;
