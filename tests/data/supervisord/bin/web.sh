#!/bin/sh
# What the fixture starts as its web server: it waits until it is told to stop.
sleep 1000
