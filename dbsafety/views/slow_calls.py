"""The calls that wait for something outside the program, as data: a network, another process, a clock, a person.

A name that ends in `.*` stands for everything below it; below a class these are the methods of its objects.
"""

from __future__ import annotations

from collections.abc import Collection

_CLOCK = "time.sleep asyncio.sleep anyio.sleep trio.sleep gevent.sleep eventlet.sleep"
_PROCESS = """subprocess.run subprocess.call subprocess.check_call subprocess.check_output subprocess.getoutput
    subprocess.getstatusoutput subprocess.Popen.communicate subprocess.Popen.wait os.system os.waitpid
    asyncio.create_subprocess_exec asyncio.create_subprocess_shell sh.*"""
_NETWORK = """urllib.request.urlopen urllib.request.urlretrieve urllib.request.OpenerDirector.open urllib3.request
    urllib3.PoolManager.request urllib3.PoolManager.urlopen http.client.HTTPConnection.* http.client.HTTPSConnection.*
    socket.create_connection socket.getaddrinfo socket.gethostbyname smtplib.SMTP smtplib.SMTP.* smtplib.SMTP_SSL
    smtplib.SMTP_SSL.* ftplib.FTP ftplib.FTP.* imaplib.IMAP4.* imaplib.IMAP4_SSL.* poplib.* telnetlib.*
    xmlrpc.client.ServerProxy.* paramiko.SSHClient.* fabric.Connection.* pexpect.* websocket.create_connection
    websockets.connect django.core.mail.send_mail django.core.mail.send_mass_mail django.core.mail.mail_admins
    django.core.mail.EmailMessage.send django.core.mail.EmailMultiAlternatives.send"""
_HTTP = """requests.Session.* requests.session.* httpx.Client.* httpx.AsyncClient.* httpx.stream
    aiohttp.ClientSession.*"""
_VERBS = "get post put patch delete head options request"
_SERVICES = """boto3.client.* boto3.resource.* botocore.client.* stripe.* twilio.rest.Client.* slack_sdk.WebClient.*
    google.cloud.* azure.storage.blob.* pymongo.MongoClient.* elasticsearch.Elasticsearch.*
    kafka.KafkaProducer.flush pika.BlockingConnection docker.from_env.*"""
_MODELS = """openai.OpenAI.* openai.AsyncOpenAI.* openai.AzureOpenAI.* openai.ChatCompletion.* openai.Completion.*
    openai.Embedding.* anthropic.Anthropic.* anthropic.AsyncAnthropic.* cohere.Client.* mistralai.Mistral.*
    mistralai.client.MistralClient.* groq.Groq.* ollama.* litellm.completion litellm.acompletion litellm.embedding
    google.generativeai.GenerativeModel.* google.genai.Client.* langchain_openai.ChatOpenAI.*
    langchain_anthropic.ChatAnthropic.* replicate.run huggingface_hub.InferenceClient.*"""
_PERSON = "input getpass.getpass click.prompt click.confirm"

SLOW_CALLS: Collection[str] = frozenset(
    (
        *_CLOCK.split(),
        *_PROCESS.split(),
        *_NETWORK.split(),
        *_HTTP.split(),
        *_SERVICES.split(),
        *_MODELS.split(),
        *_PERSON.split(),
        *(f"{module}.{verb}" for module in ("requests", "requests.api", "httpx") for verb in _VERBS.split()),
    )
)
"""Canonical dotted names."""
QUICK_METHODS = frozenset({"aclose", "close", "mount", "set_missing_host_key_policy"})
"""Methods below a `.*` that wait for nothing, or only end what is there."""
SLEEPS = frozenset(_CLOCK.split())
"""Those whose first argument is the time they take, in seconds."""
SHORTEST_SLEEP = 0.1
"""Seconds; what is shorter is a yield to others or a poll, and waits no longer than a commit may."""
STARTERS = frozenset({"create_task", "ensure_future", "run_coroutine_threadsafe"})
"""Functions that have a coroutine run beside their caller, which goes on at once."""
