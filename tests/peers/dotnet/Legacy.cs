// A client as they were written for the .NET token APIs, with the classes of the framework and nothing else.
//
//   legacy.exe MODE TRANSPORT BASE RESOURCE CREDENTIAL...
//
// MODE       xml | json | redex
// TRANSPORT  webrequest | httpclient
// BASE       where the token endpoints are, RESOURCE what is called with the token
// CREDENTIAL company, user and password; for redex API key, client id and client secret
//
// It begins a session, calls, refreshes, calls again, uses the first refresh token a second time and at last one that
// nobody gave. What it saw goes to standard output as lines STEP.NAME=VALUE; it ends with 0 if it got through.

using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Text;

// What a server of this kind gives out: a class that is [Serializable] and no data contract, so that the names on the
// wire are those of the fields that the compiler made.
namespace Kike.Security.Data.Dto
{
    [Serializable]
    public class TokenResponse
    {
        public string accessToken { get; set; }
        public string tokenType { get; set; }
        public string expiresIn { get; set; }
        public string refreshToken { get; set; }
        public string userName { get; set; }
        public int? id { get; set; }
        public string name { get; set; }
        public int? seqUser { get; set; }
        public string userCode { get; set; }
        public string permissionRole { get; set; }
        public string company { get; set; }
        public string companyType { get; set; }
        public bool? isExt { get; set; }
        public string loginId { get; set; }
        public DateTime issued { get; set; }
        public DateTime expires { get; set; }
    }
}

namespace AuthenticationServer.Models
{
    [DataContract(Namespace = Names.Models)]
    public class ConsincoUserBindingModel
    {
        [DataMember] public int ControllerVersion { get; set; }
        [DataMember] public string Company { get; set; }
        [DataMember] public string Username { get; set; }
        [DataMember] public string Password { get; set; }
    }

    // Without the grant type, which then goes out as i:nil="true".
    [DataContract(Namespace = Names.Models)]
    public class ConsincoRefreshTokenBindingModel
    {
        [DataMember] public int ControllerVersion { get; set; }
        [DataMember] public string GrantType { get; set; }
        [DataMember] public string Refreshtoken { get; set; }
    }

    static class Names
    {
        public const string Models = "http://schemas.datacontract.org/2004/07/AuthenticationServer.Models";
    }
}

namespace Legacy
{
    using AuthenticationServer.Models;
    using Kike.Security.Data.Dto;

    // The same answers in JSON, by their documented names.
    [DataContract]
    class TokenAnswer
    {
        [DataMember(Name = "access_token")] public string AccessToken;
        [DataMember(Name = "token_type")] public string TokenType;
        [DataMember(Name = "expires_in")] public string ExpiresIn;
        [DataMember(Name = "refresh_token")] public string RefreshToken;
        [DataMember(Name = "username")] public string UserName;
        [DataMember(Name = "id")] public int? Id;
        [DataMember(Name = "name")] public string Name;
        [DataMember(Name = "userSequence")] public int? Sequence;
        [DataMember(Name = "userCode")] public string UserCode;
        [DataMember(Name = "permissionRole")] public string PermissionRole;
        [DataMember(Name = "company")] public string Company;
        [DataMember(Name = "companyType")] public string CompanyType;
        [DataMember(Name = "isExt")] public bool? IsExternal;
        [DataMember(Name = "loginId")] public string LoginId;
        [DataMember(Name = ".issued")] public string Issued;
        [DataMember(Name = ".expires")] public string Expires;
    }

    [DataContract]
    class LoginRequest
    {
        [DataMember] public string company;
        [DataMember] public string username;
        [DataMember] public string password;
    }

    [DataContract]
    class RefreshRequest
    {
        [DataMember] public string refresh_token;
        [DataMember] public string grant_type;
    }

    [DataContract]
    class ApiKeyRequest
    {
        [DataMember] public string ApiKey;
        [DataMember] public string GrantType;
        [DataMember] public string ClientId;
        [DataMember] public string ClientSecret;
    }

    [DataContract]
    class RefreshTokenRequest
    {
        [DataMember] public string RefreshToken;
        [DataMember] public string GrantType;
        [DataMember] public string ClientId;
        [DataMember] public string ClientSecret;
    }

    [DataContract]
    class Envelope
    {
        [DataMember] public TokenData Data;
        [DataMember] public List<EnvelopeError> Errors;
        [DataMember] public int StatusCode;
        [DataMember] public string Message;
    }

    [DataContract]
    class TokenData
    {
        [DataMember] public string AccessToken;
        [DataMember] public string RefreshToken;
        [DataMember] public string ExpiresIn;
        [DataMember] public string TokenType;
        [DataMember] public string Scope;
    }

    [DataContract]
    class EnvelopeError
    {
        [DataMember] public string Key;
        [DataMember] public string Message;
    }

    class Answer
    {
        public int Status;
        public string MediaType;
        public byte[] Body;

        public T Json<T>() where T : class
        {
            return (T)new DataContractJsonSerializer(typeof(T)).ReadObject(new MemoryStream(Body));
        }

        public T Xml<T>() where T : class
        {
            return (T)new DataContractSerializer(typeof(T)).ReadObject(new MemoryStream(Body));
        }
    }

    interface ITransport
    {
        Answer Post(string url, string mediaType, byte[] body);
        Answer Get(string url, string token);
    }

    // Sends `Expect: 100-continue` with every POST, and throws on every refusal.
    class WebRequests : ITransport
    {
        public Answer Post(string url, string mediaType, byte[] body)
        {
            var request = (HttpWebRequest)WebRequest.Create(url);
            request.Method = "POST";
            request.ContentType = mediaType + "; charset=utf-8";
            request.Accept = mediaType;
            using (var stream = request.GetRequestStream()) stream.Write(body, 0, body.Length);
            return Read(request);
        }

        public Answer Get(string url, string token)
        {
            var request = (HttpWebRequest)WebRequest.Create(url);
            request.Headers[HttpRequestHeader.Authorization] = "Bearer " + token;
            return Read(request);
        }

        static Answer Read(HttpWebRequest request)
        {
            HttpWebResponse response;
            try { response = (HttpWebResponse)request.GetResponse(); }
            catch (WebException refused)
            {
                response = refused.Response as HttpWebResponse;
                if (response == null) throw;
            }
            using (response)
            using (var body = new MemoryStream())
            {
                response.GetResponseStream().CopyTo(body);
                var mediaType = response.ContentType.Split(';')[0];
                return new Answer { Status = (int)response.StatusCode, MediaType = mediaType, Body = body.ToArray() };
            }
        }
    }

    class HttpClients : ITransport
    {
        readonly HttpClient client = new HttpClient();

        public Answer Post(string url, string mediaType, byte[] body)
        {
            var content = new ByteArrayContent(body);
            content.Headers.ContentType = new MediaTypeHeaderValue(mediaType) { CharSet = "utf-8" };
            var request = new HttpRequestMessage(HttpMethod.Post, url) { Content = content };
            request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue(mediaType));
            return Read(request);
        }

        public Answer Get(string url, string token)
        {
            var request = new HttpRequestMessage(HttpMethod.Get, url);
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            return Read(request);
        }

        Answer Read(HttpRequestMessage request)
        {
            using (var response = client.SendAsync(request).Result)
            {
                var type = response.Content.Headers.ContentType;
                return new Answer {
                    Status = (int)response.StatusCode,
                    MediaType = type == null ? "" : type.MediaType,
                    Body = response.Content.ReadAsByteArrayAsync().Result,
                };
            }
        }
    }

    // One of the two APIs, in one of its forms.
    abstract class Api
    {
        public ITransport Transport;
        public string Base;
        public string[] Credential;

        public abstract Answer Begin();
        public abstract Answer Refresh(string token);
        // Prints everything; gives access and refresh token.
        public abstract Tuple<string, string> Read(string step, Answer answer);
        public abstract void ReadRefusal(string step, Answer answer);

        protected static byte[] Json<T>(T value)
        {
            var body = new MemoryStream();
            new DataContractJsonSerializer(typeof(T)).WriteObject(body, value);
            return body.ToArray();
        }

        protected static byte[] Xml<T>(T value)
        {
            var body = new MemoryStream();
            new DataContractSerializer(typeof(T)).WriteObject(body, value);
            return body.ToArray();
        }

        protected static void Print(string step, object value)
        {
            foreach (var property in value.GetType().GetProperties())
                Line(step, property.Name, property.GetValue(value, null));
            foreach (var field in value.GetType().GetFields())
                Line(step, field.Name, field.GetValue(value));
        }

        public static void Line(string step, string name, object value)
        {
            var text = value is DateTime ? ((DateTime)value).ToUniversalTime().ToString("o") : Convert.ToString(value);
            Console.WriteLine(step + "." + name + "=" + (value == null ? "null" : text));
        }
    }

    class ConsincoXml : Api
    {
        public override Answer Begin()
        {
            var model = new ConsincoUserBindingModel {
                ControllerVersion = 3, Company = Credential[0], Username = Credential[1], Password = Credential[2],
            };
            return Transport.Post(Base + "/api/v1/auth/login", "application/xml", Xml(model));
        }

        public override Answer Refresh(string token)
        {
            var model = new ConsincoRefreshTokenBindingModel { ControllerVersion = 3, Refreshtoken = token };
            return Transport.Post(Base + "/api/v1/auth/refresh-token", "text/xml", Xml(model));
        }

        public override Tuple<string, string> Read(string step, Answer answer)
        {
            var token = answer.Xml<TokenResponse>();
            Print(step, token);
            return Tuple.Create(token.accessToken, token.refreshToken);
        }

        public override void ReadRefusal(string step, Answer answer)
        {
            var document = new System.Xml.XmlDocument();
            document.Load(new MemoryStream(answer.Body));
            Line(step, "message", document.SelectSingleNode("/Error/Message").InnerText);
        }
    }

    class ConsincoJson : Api
    {
        public override Answer Begin()
        {
            var model = new LoginRequest { company = Credential[0], username = Credential[1], password = Credential[2] };
            return Transport.Post(Base + "/api/v1/auth/login", "application/json", Json(model));
        }

        public override Answer Refresh(string token)
        {
            var model = new RefreshRequest { refresh_token = token, grant_type = "refresh_token" };
            return Transport.Post(Base + "/api/v1/auth/refresh-token", "text/json", Json(model));
        }

        public override Tuple<string, string> Read(string step, Answer answer)
        {
            var token = answer.Json<TokenAnswer>();
            Print(step, token);
            return Tuple.Create(token.AccessToken, token.RefreshToken);
        }

        public override void ReadRefusal(string step, Answer answer)
        {
            Line(step, "message", Encoding.UTF8.GetString(answer.Body));
        }
    }

    class Redex : Api
    {
        public override Answer Begin()
        {
            var model = new ApiKeyRequest {
                ApiKey = Credential[0], GrantType = "api_key", ClientId = Credential[1], ClientSecret = Credential[2],
            };
            return Transport.Post(Base + "/public/v2/connect/token", "application/json", Json(model));
        }

        public override Answer Refresh(string token)
        {
            var model = new RefreshTokenRequest {
                RefreshToken = token, GrantType = "refresh_token", ClientId = Credential[1], ClientSecret = Credential[2],
            };
            return Transport.Post(Base + "/public/v2/connect/token/refresh", "application/json", Json(model));
        }

        public override Tuple<string, string> Read(string step, Answer answer)
        {
            var envelope = answer.Json<Envelope>();
            Line(step, "StatusCode", envelope.StatusCode);
            Line(step, "Message", envelope.Message);
            Print(step, envelope.Data);
            return Tuple.Create(envelope.Data.AccessToken, envelope.Data.RefreshToken);
        }

        public override void ReadRefusal(string step, Answer answer)
        {
            var envelope = answer.Json<Envelope>();
            Line(step, "StatusCode", envelope.StatusCode);
            Line(step, "message", envelope.Message);
            foreach (var error in envelope.Errors) Line(step, "Key", error.Key);
        }
    }

    static class Program
    {
        static int Main(string[] args)
        {
            Console.OutputEncoding = new UTF8Encoding(false);
            Api api = args[0] == "xml" ? new ConsincoXml() : args[0] == "json" ? (Api)new ConsincoJson() : new Redex();
            api.Transport = args[1] == "webrequest" ? (ITransport)new WebRequests() : new HttpClients();
            api.Base = args[2];
            api.Credential = new[] { args[4], args[5], args[6] };
            var resource = args[3];

            var first = Good("login", api, api.Begin());
            Call("call", api, resource, first.Item1);
            var second = Good("refresh", api, api.Refresh(first.Item2));
            Call("call_again", api, resource, second.Item1);
            // As a client does that lost the answer.
            Good("retry", api, api.Refresh(first.Item2));
            var refused = api.Refresh("nobody-gave-this");
            Head("refused", refused);
            api.ReadRefusal("refused", refused);
            return refused.Status == 401 ? 0 : 1;
        }

        static Tuple<string, string> Good(string step, Api api, Answer answer)
        {
            Head(step, answer);
            if (answer.Status != 200)
            {
                api.ReadRefusal(step, answer);
                Environment.Exit(1);
            }
            return api.Read(step, answer);
        }

        static void Call(string step, Api api, string resource, string token)
        {
            var answer = api.Transport.Get(resource, token);
            Api.Line(step, "status", answer.Status);
            if (answer.Status != 200) Environment.Exit(1);
        }

        static void Head(string step, Answer answer)
        {
            Api.Line(step, "status", answer.Status);
            Api.Line(step, "media_type", answer.MediaType);
        }
    }
}
