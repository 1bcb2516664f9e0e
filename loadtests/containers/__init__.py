"""The images of the Dockerfile, built and run where no container engine runs."""
