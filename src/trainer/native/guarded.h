// How the shim reports failure: functions return 0 on success, and leave the reason in harness_error().

#pragma once

#include <exception>
#include <string>

inline std::string& last_error() {
  thread_local std::string error;
  return error;
}

template <typename F>
int guarded(F body) {
  try {
    body();
    return 0;
  } catch (const std::exception& e) {
    last_error() = e.what();
  } catch (...) {
    last_error() = "an exception of unknown type";
  }
  return 1;
}
