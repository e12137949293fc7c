DROP TRIGGER falcon_inboxes_touch ON falcon_inboxes;
DROP TRIGGER falcon_inboxes_touch_gone ON falcon_inboxes;
DROP TRIGGER falcon_notifications_touch ON falcon_notifications;
DROP FUNCTION falcon_touch_muted();
DROP FUNCTION falcon_touch();
DROP TABLE falcon_touched;
DROP TABLE falcon_relay;
