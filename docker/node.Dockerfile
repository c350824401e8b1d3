# A Python environment from wheels on top of an image that has Python >= 3.10: by default that of a node, with Ray, the runner and the Docker
# SDK. The context is a folder with wheels/, as `deploy/bundle.py image` makes it; nothing is fetched, and the base image needs no pip.
# BASE is an image of your registry or engine.
ARG BASE=python:3.11-slim

FROM ${BASE} AS made
ARG REQUIREMENTS="runner[ray]"
COPY wheels /wheels
# `compileall` once here, or each container would do it for itself, for seconds.
RUN python3 -m venv --without-pip /opt/runner \
 && /opt/runner/bin/python "$(echo /wheels/pip-*.whl)/pip" install --no-index --find-links /wheels --disable-pip-version-check --quiet ${REQUIREMENTS} \
 && /opt/runner/bin/python -m compileall -q -j 2 /opt/runner/lib

FROM ${BASE}
COPY --from=made /opt/runner /opt/runner
ENV PATH=/opt/runner/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["runner", "cluster", "--help"]
