DROP INDEX falcon_late_due;
