// Bare decodes a notification and responds with 201. It is the upper limit for an HTTP service in
// Go on a machine.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	s := &http.Server{Addr: os.Args[1], ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(create)}
	fmt.Fprintln(os.Stderr, s.ListenAndServe())
	os.Exit(1)
}

func create(w http.ResponseWriter, r *http.Request) {
	var draft struct {
		Title   string `json:"title"`
		Message string `json:"message"`
		User    string `json:"created_by"`
	}
	if err := json.NewDecoder(r.Body).Decode(&draft); err != nil {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(`{"message":"Notificación creada correctamente","id":27,"seq":3}`))
}
