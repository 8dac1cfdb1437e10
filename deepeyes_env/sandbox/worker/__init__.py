"""What runs inside the sandbox. It stands alone: inside, no other module of the package is imported."""
