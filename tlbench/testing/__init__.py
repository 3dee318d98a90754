"""What authors of methods test with: tiny fakes, and the contract that every method keeps."""
