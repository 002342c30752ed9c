# The book, its tests and JupyterLab in a container; README.md says how. The first stage is the
# machine alone: .devcontainer/ builds that one and mounts a clone into it.
FROM python:3.11-slim-bookworm AS machine
RUN apt-get update \
    && apt-get install -y --no-install-recommends chromium fonts-dejavu-core git make \
    && rm -rf /var/lib/apt/lists/*
# Docker allows no sandbox inside of its own. The browser opens the pages of this book only.
RUN echo 'CHROMIUM_FLAGS="$CHROMIUM_FLAGS --no-sandbox"' > /etc/chromium.d/in-a-container
RUN useradd --create-home --uid 1000 reader
USER reader
RUN mkdir /home/reader/randprune
WORKDIR /home/reader/randprune

FROM machine
COPY --chown=reader . .
# Every package by its hash, JupyterLab too, which then says its version and ends.
RUN make lab ARGS=--version
EXPOSE 8000 8888
CMD ["make", "lab", "ARGS=--ip=0.0.0.0 --no-browser"]
