// Package compose brings the project of docker-compose.yml up, under a name and on ports of its own, and breaks it from outside:
// containers are killed, stopped, paused, and cut off from their network. What list, watch and the logs of the holders say
// meanwhile is judged by package history. `go test -v ./integration/compose` prints a table of the faults.
//
// It needs a Docker engine on this machine and compose of either generation, and is skipped without. The images are built by
// `make images`, which needs no registry.
package compose
