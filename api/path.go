package api

import "strings"

// redirected reports whether the mux would redirect path to a shorter one. The API
// does not: DELETE /admin/users/./connections would become the erasure of the user
// "connections".
func redirected(path string) bool {
	return strings.Contains(path, "//") || strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../")
}
