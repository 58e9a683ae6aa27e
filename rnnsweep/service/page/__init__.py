"""The live page: server-rendered HTML, a script of ours that asks for news, and Plotly as the report has it."""
