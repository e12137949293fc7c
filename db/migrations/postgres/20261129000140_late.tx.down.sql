DROP TABLE falcon_acks;
DROP TABLE falcon_late;
DROP TABLE falcon_leases;
DROP TABLE falcon_registrations;
