//go:build !unix

package db

import "net"

// hungUp has no way to find out on this system; a call on a dead connection then fails once.
func hungUp(net.Conn) bool { return false }
