// Package observer has those who look at a run from outside and write down what they saw, for package history to judge: an
// auditor, whose word is the truth, and those who read what the program prints: lists, watches, and the logs of holders.
package observer
