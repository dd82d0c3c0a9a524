// Package chaos runs everything at once and breaks it at random: three etcd processes, processes that hold names, processes
// that watch, lists, operators, and faults from a seed, alone and one over another. Nothing is asserted while it runs: everybody
// writes down what he saw, and package history judges that.
//
// The same seed gives the same plan. A run is a sequence of rounds with histories of their own:
//
//	go test ./integration/chaos                        # a short selection of seeds
//	make chaos DURATION=15m                            # rounds for 15 minutes, seeds from a random first
//	make chaos DURATION=2h SEED=7 KEEP=/tmp/histories  # the same again, with the histories kept
package chaos
