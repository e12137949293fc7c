//go:build !unix || solaris || aix

package db

// inUse has no way to find out on this system. Where an open file cannot be renamed, as on
// Windows, the restore fails for that reason.
func inUse(string) error { return nil }
