//go:build !unix

package db

import "net"

// hungUp cannot tell here; a call on a dead connection then fails once.
func hungUp(net.Conn) bool { return false }
