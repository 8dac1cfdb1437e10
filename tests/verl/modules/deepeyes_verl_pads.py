"""Loaded by verl beside our own modules: a server that lets the policy write an image token, in the row ``sound``."""

from dataclasses import replace

from deepeyes_env.trainers.verl.episode import Episode

SOUND = 0

play = Episode.play


async def play_with_image_tokens(self, seed, options):
    generate = self.generate

    async def generate_image_token(*args):
        written = await generate(*args)
        return replace(written, ids=(*written.ids[:2], self.chat.image_token, *written.ids[3:]))

    if options["index"] == SOUND:
        self.generate = generate_image_token
    return await play(self, seed, options)


Episode.play = play_with_image_tokens
