"""OpenVINO IR for convkit: conversion, inspection, execution and tracing."""
