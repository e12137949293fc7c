DROP TABLE falcon_audit;
DROP FUNCTION falcon_audit_unchanged();
