#pragma once

namespace gloo::transport {

class Device;

// Held by unique_ptr in classes of libtorch, whose destructors are seen.
class UnboundBuffer {
 public:
  virtual ~UnboundBuffer() = default;
};

}  // namespace gloo::transport
