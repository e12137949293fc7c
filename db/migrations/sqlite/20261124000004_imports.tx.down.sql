DROP TABLE falcon_imports;
