"""What tests of several folders share: servers, processes, rollouts and writers."""
