Gem::Specification.new do |gem|
  gem.name = "heapmaster"
  gem.version = "0.1.0"
  gem.summary = "A memory pool that knows where your memory is: blocks out of your own buffers"
  gem.authors = ["The HeapMaster developers"]
  gem.license = "MIT"
  gem.required_ruby_version = ">= 3.0"
  gem.files = Dir["lib/**/*.rb"]
end
