"""The devices and processes that compute together, and how they are asked to stop."""
