"""Photos in, label maps out: loading.load_engine makes an engine.Engine from a checkpoint."""
