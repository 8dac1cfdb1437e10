"""Run by an interpreter that has verl 0.7.1: create, execute and release its ImageZoomInTool for each call.

    python verl_child.py IMAGE BOXES.json-text

Its agent loop does these three for every single call, with the rollout's PIL image. Prints JSON with CPU milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import ray
from PIL import Image
from verl.tools.image_zoom_in_tool import ImageZoomInTool
from verl.tools.schemas import OpenAIFunctionToolSchema

SCHEMA = {
    "type": "function",
    "function": {
        "name": "image_zoom_in_tool",
        "description": "Zoom in.",
        "parameters": {
            "type": "object",
            "properties": {"bbox_2d": {"type": "array", "description": "The box."}},
            "required": ["bbox_2d"],
        },
    },
}


async def one_call(tool: ImageZoomInTool, image: Image.Image, box: list[int]) -> float:
    """Return the CPU milliseconds of one call."""
    start = time.process_time()
    instance, _ = await tool.create(create_kwargs={"image": image})
    response, _, _ = await tool.execute(instance, {"bbox_2d": box})
    await tool.release(instance)
    if not response.image:
        raise AssertionError(response.text)
    return (time.process_time() - start) * 1e3


def main() -> None:
    """Measure."""
    image = Image.open(sys.argv[1]).convert("RGB")
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
    tool = ImageZoomInTool({}, OpenAIFunctionToolSchema.model_validate(SCHEMA))
    times = [asyncio.run(one_call(tool, image, box)) for box in json.loads(sys.argv[2])]
    print(json.dumps({"median_ms": statistics.median(times)}))


if __name__ == "__main__":
    main()
