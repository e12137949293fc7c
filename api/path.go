package api

import "strings"

// redirected reports whether the mux would redirect path to a shorter one. The API refuses
// such a path: DELETE /admin/users/./connections would erase the user "connections".
func redirected(path string) bool {
	return strings.Contains(path, "//") || strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../")
}
