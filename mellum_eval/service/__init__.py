"""The verifiers over HTTP (contract 5). Needs the extra `serve`."""
