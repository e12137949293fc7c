DROP TABLE falcon_audit;
