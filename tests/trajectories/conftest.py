"""Episodes built from the core dataclasses, with drawn images: what an environment would record."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from deepeyes_env.core import Message, RewardTerm, Sample, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.ref import ImageRef

SIZE = (960, 600)
CAR: BBox = (640.0, 380.0, 700.0, 410.0)


@pytest.fixture(scope="session")
def scene() -> ImageRef:
    """A street with a small red car, as pixels."""
    image = PILImage.new("RGB", SIZE, (188, 205, 220))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 360, 960, 600), fill=(96, 100, 104))
    for x in range(0, 960, 120):
        height = 120 + (x * 37) % 170
        draw.rectangle((x + 8, 360 - height, x + 104, 360), fill=(120 + x % 90, 110, 100 + x % 50))
        for y in range(360 - height + 12, 340, 30):
            draw.rectangle((x + 22, y, x + 40, y + 16), fill=(235, 225, 170))
            draw.rectangle((x + 66, y, x + 84, y + 16), fill=(60, 70, 90))
    draw.rounded_rectangle(CAR, 8, fill=(200, 30, 40))
    return ImageRef.of(image)


@pytest.fixture(scope="session")
def make_episode(scene: ImageRef) -> Callable[..., Trajectory]:
    """Return a function that makes an episode; its keyword arguments say what happens in it."""

    def make(
        *,
        id: str = "street-0",
        answer: str = "A",
        right: bool | None = True,
        boxes: tuple[BBox, ...] = ((600.0, 350.0, 740.0, 440.0),),
        error: str = "",
        think: str = "The car is too small to tell. I look closer.",
        last: str | None = None,
    ) -> Trajectory:
        view = ImageRef.of(PILImage.fromarray(scene.pixels()).resize((476, 308)))
        turns = []
        for box in boxes:
            x1, y1, x2, y2 = map(round, box)
            crop = ImageRef.of(np.ascontiguousarray(scene.pixels()[y1:y2, x1:x2]))
            call = ToolCall("image_zoom_in_tool", {"bbox_2d": list(box), "label": "car"})
            action = f'<think>{think}</think>\n<tool_call>\n{{"name": "image_zoom_in_tool"}}\n</tool_call>'
            result = ToolResult(call, images=(crop,), box=box, seconds=0.0042)
            turns.append(Turn(action, results=(result,), observation=Message("<image>\nThink again.", (crop,))))
        if error:
            call = ToolCall("image_zoom_in_tool", {"bbox_2d": [900, 10, 40, 300]})
            refused = ToolResult(call, status="bad_arguments", error=error)
            turns.append(Turn("<tool_call>{}</tool_call>", results=(refused,), observation=Message(error)))
        turns.append(Turn(last if last is not None else f"<think>Red.</think><answer>{answer}</answer>", answer=answer))
        trajectory = Trajectory(
            sample=Sample(id, "What colour is the car?", "red", (scene,), ("red", "blue", "green"), (CAR,)),
            prompt=Message("<image>\nWhat colour is the car?\nA. red\nB. blue\nC. green", (view,)),
            system_prompt="You may call image_zoom_in_tool.",
            toolbox="VisualToolbox-v2",
            native_size=SIZE,
            turns=tuple(turns),
            terminated=True,
            stop_reason="answer",
            metadata={"seed": 3},
        )
        if right is None:
            return trajectory
        tool = float(right and bool(boxes))
        return trajectory.scored(
            {"acc": RewardTerm(float(right), 0.8), "format": RewardTerm(0.0, 0.2), "tool": RewardTerm(tool, 1.2)},
            float(right),
        )

    return make
