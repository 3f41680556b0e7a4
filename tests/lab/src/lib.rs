//! A Kubernetes cluster of network namespaces on one machine, for tests
