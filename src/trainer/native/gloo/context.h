// libtorch has ProcessGroupGloo.hpp, but not the headers of gloo that it includes. It names gloo's types behind pointers
// only, so declarations of our own are enough for whoever makes and calls none of them. To be looked at again
// with each release of libtorch.

#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds);
};

}  // namespace gloo
