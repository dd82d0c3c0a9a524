// Package packaging holds what goes into archives and packages beside the program, and tests that what they are made by
// fits what is there: .goreleaser.yaml, the workflows and the Makefile name files, targets and each other, and nothing else
// would notice before a release. Whether a package works is tried by test.sh.
package packaging
