"""The torch pieces that methods share: context, loop, schedules, parameter groups, heads, features."""
