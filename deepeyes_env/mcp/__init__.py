"""Tools of MCP servers in an environment, and an environment's tools for any MCP client."""

from deepeyes_env.mcp.source import McpTools, mcp_tools

__all__ = ["McpTools", "mcp_tools"]
